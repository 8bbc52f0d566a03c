//! Ranges of addresses: `192.0.2.0/24`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

/// Shorter prefixes hold so many strangers that they are as good as the world: a /8 is the largest network that is anybody's
/// own (10.0.0.0/8), a /16 is more than any site gets.
const WIDE: [u8; 2] = [8, 16];

/// A range of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no range.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{0:?} is not a range of addresses")]
pub struct InvalidCidr(String);

impl Cidr {
    /// One address alone.
    #[must_use]
    pub fn one(address: IpAddr) -> Self {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        Self { address, prefix }
    }

    /// Its first address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// Whether it is as good as everybody.
    #[must_use]
    pub fn is_wide(self) -> bool {
        self.prefix < WIDE[usize::from(self.address.is_ipv6())]
    }
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, InvalidCidr> {
        let invalid = || InvalidCidr(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let address = address.parse().map_err(|_| invalid())?;
        let prefix = prefix.parse().map_err(|_| invalid())?;
        let whole = Self::one(address).prefix;
        (prefix <= whole)
            .then_some(Self { address, prefix })
            .ok_or_else(invalid)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_the_world_is_told_from_a_network() {
        for (text, wide) in [
            ("203.0.113.7/32", Some(false)),
            ("10.0.0.0/8", Some(false)),
            ("0.0.0.0/0", Some(true)),
            ("128.0.0.0/1", Some(true)),
            ("2001:db8::7/128", Some(false)),
            ("::/0", Some(true)),
            ("2000::/3", Some(true)),
            ("203.0.113.7", None),
            ("203.0.113.7/33", None),
            ("::1/129", None),
            ("example.org/32", None),
            ("", None),
        ] {
            let range = text.parse::<Cidr>();
            assert_eq!(range.as_ref().ok().map(|it| it.is_wide()), wide, "{text}");
            if let Ok(range) = range {
                assert_eq!(range.to_string(), text);
            }
        }
    }
}
