//! Ranges of IP addresses, of either version.

use std::net::IpAddr;

/// A range of addresses: those that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    /// At most 32 or 128.
    bits: u8,
}

impl Cidr {
    /// `None` where it is not an address, a slash and a number of bits.
    pub fn parse(text: &str) -> Option<Self> {
        let (network, bits) = text.split_once('/')?;
        let network: IpAddr = network.parse().ok()?;
        // `parse` of a number would take a sign.
        let bits: u8 = bits.bytes().all(|byte| byte.is_ascii_digit()).then(|| bits.parse().ok())??;
        let longest = if network.is_ipv4() { 32 } else { 128 };
        (bits <= longest).then_some(Self { network, bits })
    }

    pub fn contains(&self, text: &str) -> bool {
        match (self.network, text.parse()) {
            (IpAddr::V4(network), Ok(IpAddr::V4(address))) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(network), Ok(IpAddr::V6(address))) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros() >= u32::from(self.bits)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cidr;

    #[test]
    fn addresses_of_a_range() {
        for (cidr, address, inside) in [
            ("10.0.0.0/24", "10.0.0.255", true),
            ("10.0.0.0/24", "10.0.1.0", false),
            ("10.0.0.7/24", "10.0.0.1", true),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("1.2.3.4/32", "1.2.3.4", true),
            ("1.2.3.4/32", "1.2.3.5", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::1/128", "0:0:0:0:0:0:0:1", true),
            ("::/0", "10.0.0.1", false),
            ("10.0.0.0/8", "10.0.0", false),
            ("10.0.0.0/8", "", false),
        ] {
            assert_eq!(Cidr::parse(cidr).expect(cidr).contains(address), inside, "{cidr} {address}");
        }
        for cidr in ["", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0/8", "a/8", "10.0.0.0/+8"] {
            assert_eq!(Cidr::parse(cidr), None, "{cidr}");
        }
    }
}
