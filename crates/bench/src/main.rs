//! `quorlite-bench`

mod floors;
mod servers;
mod values;

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let time = std::time::Duration::from_secs(1);
    match words.as_slice() {
        ["serve", "noop"] => servers::noop::run(),
        ["serve", "read", dir] => servers::read::run(dir.as_ref()),
        ["serve", "write", dir] => servers::write::run(dir.as_ref()),
        ["floors", dir] => {
            println!("{:?}", floors::disk::flushes(dir.as_ref(), time)?);
            println!("{:?}", floors::sqlite::figures(dir.as_ref(), time)?);
            Ok(())
        }
        _ => anyhow::bail!("?"),
    }
}
