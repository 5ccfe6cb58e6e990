//! What the operating system says of this process.

/// What the process holds of the machine's memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// In RAM.
    pub resident: u64,
    /// Of the address space.
    pub virtual_size: u64,
}

/// The memory of this process; nothing where the system does not tell.
pub fn memory() -> Memory {
    let told = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let page = rustix::param::page_size() as u64;
    let mut pages = told.split(' ').map_while(|word| word.parse::<u64>().ok());
    let virtual_size = pages.next().unwrap_or(0) * page;
    let resident = pages.next().unwrap_or(0) * page;
    Memory { resident, virtual_size }
}

/// Open file descriptors; 0 where the system does not tell.
pub fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}
