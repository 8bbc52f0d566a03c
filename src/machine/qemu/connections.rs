//! Connections of a guest to the outside, besides its SSH port.

use std::str::FromStr;

/// Connections of a guest. The default is that of a sealed build.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Connections {
    /// Gives the guest access to the network.
    pub open: bool,
    /// Ports of this host that lead to the guest.
    pub forwards: Vec<PortForward>,
    /// Form of the serial console.
    pub console: Console,
}

/// TCP port on this host's loopback address that leads to a port of the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortForward {
    /// Port on this host.
    pub host: u16,
    /// Port in the guest.
    pub guest: u16,
}

/// Form of the serial console. Both have a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Console {
    /// A log without input.
    #[default]
    Log,
    /// A socket, and a log of what the guest writes.
    Socket,
}

impl FromStr for PortForward {
    type Err = &'static str;

    /// Reads `HOST:GUEST`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let port = |text: &str| text.parse().ok().filter(|port| *port != 0);
        let ports = text.split_once(':');
        ports
            .and_then(|(host, guest)| {
                let (host, guest) = (port(host)?, port(guest)?);
                Some(Self { host, guest })
            })
            .ok_or("expected HOST:GUEST with two port numbers, as in 8080:80")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forward_is_two_ports() {
        for (text, expected) in [
            ("8080:80", Some((8080, 80))),
            ("80", None),
            (":80", None),
            ("8080:0", None),
            ("65536:80", None),
            ("0.0.0.0:8080:80", None),
        ] {
            let forward = text.parse::<PortForward>().ok();
            let ports = forward.map(|forward| (forward.host, forward.guest));
            assert_eq!(ports, expected, "{text}");
        }
    }
}
