//! `host:port`, split as Go splits it.

use std::net::IpAddr;

/// Host without brackets, and port; `None` when the text is not `host:port`.
///
/// The host may be empty, an IPv6 address needs brackets, the port may be any text without a colon.
pub fn split(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']')?;
        return (!inner.contains(['[', ']'])).then_some((inner, port));
    }
    (!host.contains([':', '[', ']'])).then_some((host, port))
}

/// At the last colon, whatever stands before it: `http://nonsense` is host `http`, port `//nonsense`.
pub fn split_lexically(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    text.rsplit_once(':')
        .filter(|(host, port)| !host.is_empty() && !port.is_empty())
}

/// `0.0.0.0`, `::`: an address at which nobody can be reached.
pub fn is_unspecified(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}
