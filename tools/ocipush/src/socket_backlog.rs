//! Bytes written but not yet acknowledged.
//!
//! A socket accepts megabytes at once, and a slow link needs minutes to send them. So only the send queue shows whether the
//! link moves. SIOCOUTQ (tcp(7)) would need the socket, which the HTTP client does not give away, so the kernel's table is read
//! (proc(5), /proc/net/tcp).

use std::collections::HashSet;

/// Bytes in the send queues of this process's TCP sockets; 0 if the system does not say.
pub(crate) fn unacknowledged() -> u64 {
    let own = sockets();
    ["/proc/self/net/tcp", "/proc/self/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .map(|table| queued(&table, &own))
        .sum()
}

fn sockets() -> HashSet<String> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return HashSet::new() };
    let inode = |entry: std::io::Result<std::fs::DirEntry>| {
        let link = std::fs::read_link(entry.ok()?.path()).ok()?;
        Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
    };
    entries.filter_map(inode).collect()
}

/// The sum of these sockets' send queues in such a table: field 5 is `tx_queue:rx_queue` in hex, field 10 the inode.
fn queued(table: &str, own: &HashSet<String>) -> u64 {
    let of = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        // proc(5) calls it kernel memory, but it is what was written and not acknowledged: `write_seq - snd_una` (Linux
        // net/ipv4/tcp_ipv4.c, `get_tcp4_sock`).
        let queue = fields.get(4)?.split(':').next()?;
        own.contains(*fields.get(9)?).then(|| u64::from_str_radix(queue, 16).ok())?
    };
    table.lines().skip(1).filter_map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn counts_only_the_queues_of_its_own_sockets() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:14D5 0100007F:9C40 01 00000010:00000000 00:00000000 00000000     0        0 77 2 0 20 4 30 10 -1\n   \
                     1: 0100007F:14D6 0100007F:9C41 01 000000FF:00000000 00:00000000 00000000     0        0 78 1 0 20 4 30 10 -1\n";
        assert_eq!(queued(table, &HashSet::from(["77".to_owned()])), 16);
        assert_eq!(queued(table, &HashSet::new()), 0);
        assert_eq!(queued("", &HashSet::new()), 0);
    }

    #[test]
    fn sees_what_a_peer_does_not_read() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[0; 65536]).is_ok() {}
        assert!(unacknowledged() > 0);
    }
}
