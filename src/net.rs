//! Addresses, ports and protocols, and exact sets of them.
//!
//! Knows nothing of Calico, YAML or clusters. Parsing is strict where a reader writes a value ([`Cidr::parse`]) and
//! tolerant where Calico tolerates one ([`Cidr::parse_lenient`]); sets are exact, never approximations.

mod interval;
mod set;

pub use set::{AddressSet, PortSet};

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// Bits in an address.
    pub fn bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// A network: an address with no bit set after the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr(IpNet);

/// Why a text is no network; each variant keeps the text and, where one exists, what was probably meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CidrError {
    NotAnAddress { text: String },
    BareIp { text: String, suggest: Cidr },
    HostBits { text: String, network: Cidr, host: Cidr },
    PrefixTooLong { text: String, max: u8 },
    BadPrefix { text: String },
    Ipv4Mapped { text: String, suggest: Cidr },
}

impl CidrError {
    /// What to write instead, where that can be told.
    pub fn fix(&self) -> Option<String> {
        match self {
            CidrError::BareIp { suggest, .. } | CidrError::Ipv4Mapped { suggest, .. } => {
                Some(format!("write `{suggest}`"))
            }
            CidrError::HostBits { network, host, .. } => Some(format!(
                "write `{network}` for the network or `{host}` for the one address"
            )),
            CidrError::PrefixTooLong { max, .. } => Some(format!("write a prefix length from 0 to {max}")),
            CidrError::BadPrefix { .. } => Some("write the prefix length as a plain number, such as `/24`".to_string()),
            CidrError::NotAnAddress { .. } => {
                Some("write a network such as `10.0.0.0/8`, or one address as `203.0.113.7/32`".to_string())
            }
        }
    }
}

impl fmt::Display for CidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CidrError::NotAnAddress { text } => {
                write!(
                    f,
                    "`{text}` is not a network: expected an address and a prefix length, such as 10.0.0.0/8"
                )
            }
            CidrError::BareIp { text, .. } => {
                write!(
                    f,
                    "`{text}` has no prefix length: a network needs one, also for a single address"
                )
            }
            CidrError::HostBits { text, network, .. } => {
                write!(
                    f,
                    "`{text}` has bits set after its prefix length: the network is {network}"
                )
            }
            CidrError::PrefixTooLong { text, max } => {
                write!(f, "`{text}` has a prefix length over {max}, the most its family allows")
            }
            CidrError::BadPrefix { text } => write!(f, "`{text}` has a prefix length that is not a plain number"),
            CidrError::Ipv4Mapped { text, .. } => {
                write!(
                    f,
                    "`{text}` is an IPv4 network written as IPv6, which Calico reads in either family"
                )
            }
        }
    }
}

impl std::error::Error for CidrError {}

impl Cidr {
    /// The network of `address` at `prefix`, host bits cleared; `None` when the prefix is longer than the address.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        IpNet::new(address, prefix).ok().map(|net| Cidr(net.trunc()))
    }

    pub fn host(address: IpAddr) -> Self {
        Cidr(IpNet::from(address))
    }

    /// Everything in a family: `0.0.0.0/0` or `::/0`.
    pub fn everything(family: Family) -> Self {
        match family {
            Family::V4 => Cidr(IpNet::new_assert(Ipv4Addr::UNSPECIFIED.into(), 0)),
            Family::V6 => Cidr(IpNet::new_assert(Ipv6Addr::UNSPECIFIED.into(), 0)),
        }
    }

    /// Strict: address, slash, prefix length without leading zeros, no bits after the prefix, not IPv4 in IPv6.
    pub fn parse(text: &str) -> Result<Self, CidrError> {
        let owned = || text.to_string();
        let Some((left, right)) = text.split_once('/') else {
            let address: IpAddr = text.parse().map_err(|_| CidrError::NotAnAddress { text: owned() })?;
            return Err(CidrError::BareIp {
                text: owned(),
                suggest: Cidr::host(address.to_canonical()),
            });
        };
        let address: IpAddr = left.parse().map_err(|_| CidrError::NotAnAddress { text: owned() })?;
        let prefix = plain_number(right).ok_or_else(|| CidrError::BadPrefix { text: owned() })?;
        let max = Family::of(address).bits();
        let prefix = match u8::try_from(prefix) {
            Ok(prefix) if prefix <= max => prefix,
            _ => return Err(CidrError::PrefixTooLong { text: owned(), max }),
        };
        if right.len() > 1 && right.starts_with('0') {
            return Err(CidrError::BadPrefix { text: owned() });
        }
        if let Some(suggest) = unmap(address, prefix) {
            return Err(CidrError::Ipv4Mapped { text: owned(), suggest });
        }
        let net = IpNet::new(address, prefix).map_err(|_| CidrError::PrefixTooLong { text: owned(), max })?;
        if net.trunc() != net {
            return Err(CidrError::HostBits {
                text: owned(),
                network: Cidr(net.trunc()),
                host: Cidr::host(address),
            });
        }
        Ok(Cidr(net))
    }

    /// As Calico's own code reads one (`libcalico-go/lib/net/ipnet.go` ParseCIDROrIP): a bare address is one host,
    /// bits after the prefix are cleared, leading zeros in the prefix length are ignored, IPv4 in IPv6 is IPv4.
    pub fn parse_lenient(text: &str) -> Result<Self, CidrError> {
        match Cidr::parse(text) {
            Ok(cidr) => Ok(cidr),
            Err(CidrError::BareIp { suggest, .. } | CidrError::Ipv4Mapped { suggest, .. }) => Ok(suggest),
            Err(CidrError::HostBits { network, .. }) => Ok(network),
            Err(CidrError::BadPrefix { text }) => {
                let stripped = text.split_once('/').and_then(|(left, right)| {
                    let digits = right.trim_start_matches('0');
                    let zero = if right.is_empty() || !digits.is_empty() {
                        ""
                    } else {
                        "0"
                    };
                    (digits.len() < right.len()).then(|| format!("{left}/{zero}{digits}"))
                });
                match stripped {
                    Some(stripped) => Cidr::parse_lenient(&stripped),
                    None => Err(CidrError::BadPrefix { text }),
                }
            }
            Err(other) => Err(other),
        }
    }

    pub fn family(&self) -> Family {
        Family::of(self.0.network())
    }

    pub fn network(&self) -> IpAddr {
        self.0.network()
    }

    pub fn prefix(&self) -> u8 {
        self.0.prefix_len()
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// First and last address as numbers, for the interval sets.
    fn v4_range(&self) -> Option<(u32, u32)> {
        match self.0 {
            IpNet::V4(net) => Some((net.network().into(), net.broadcast().into())),
            IpNet::V6(_) => None,
        }
    }

    fn v6_range(&self) -> Option<(u128, u128)> {
        match self.0 {
            IpNet::V6(net) => Some((net.network().into(), net.broadcast().into())),
            IpNet::V4(_) => None,
        }
    }
}

/// Digits only, at most what fits.
fn plain_number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}

/// The IPv4 network meant by an IPv4-mapped IPv6 one; shorter prefixes than the mapping itself stay IPv6.
fn unmap(address: IpAddr, prefix: u8) -> Option<Cidr> {
    match address {
        IpAddr::V6(v6) => {
            let v4 = v6.to_ipv4_mapped()?;
            Cidr::new(IpAddr::V4(v4), prefix.checked_sub(96)?)
        }
        IpAddr::V4(_) => None,
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Answers list thousands of IPv4 networks; std writes each byte of one by itself.
        match (self.0, f.width(), f.precision()) {
            (IpNet::V4(net), None, None) => {
                let (mut text, mut len) = ([b'.'; 18], 0);
                for byte in net.addr().octets() {
                    len = decimal(&mut text, len, byte) + 1;
                }
                text[len - 1] = b'/';
                len = decimal(&mut text, len, net.prefix_len());
                f.write_str(std::str::from_utf8(&text[..len]).expect("digits, points and a slash"))
            }
            _ => self.0.fmt(f),
        }
    }
}

/// The number in decimal, behind what is there already; the new length.
fn decimal(text: &mut [u8], mut len: usize, number: u8) -> usize {
    for place in [100, 10, 1] {
        if number >= place || place == 1 {
            text[len] = b'0' + number / place % 10;
            len += 1;
        }
    }
    len
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;
    fn from_str(text: &str) -> Result<Self, CidrError> {
        Cidr::parse(text)
    }
}

/// A TCP, UDP or SCTP port: 1 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(NonZeroU16);

impl Port {
    pub fn new(number: u16) -> Option<Self> {
        NonZeroU16::new(number).map(Port)
    }

    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Port> for u16 {
    fn from(port: Port) -> u16 {
        port.get()
    }
}

impl TryFrom<u64> for Port {
    type Error = PortError;
    fn try_from(number: u64) -> Result<Self, PortError> {
        let port = u16::try_from(number).ok().and_then(Port::new);
        port.ok_or_else(|| PortError {
            text: number.to_string(),
        })
    }
}

impl FromStr for Port {
    type Err = PortError;
    fn from_str(text: &str) -> Result<Self, PortError> {
        let number = plain_number(text).filter(|_| text == "0" || !text.starts_with('0'));
        let port = number.and_then(|n| u16::try_from(n).ok()).and_then(Port::new);
        port.ok_or_else(|| PortError { text: text.to_string() })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortError {
    pub text: String,
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a port: expected a number from 1 to 65535", self.text)
    }
}

impl std::error::Error for PortError {}

/// An IP protocol; those with a name are always the named variant, so `==` is equality on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
    Icmp,
    IcmpV6,
    Sctp,
    UdpLite,
    /// Any other number, 1 to 255; built through [`Protocol::from_number`] only.
    Other(u8),
}

impl Protocol {
    /// Those with a name, in the order Calico lists them.
    pub const NAMED: [Protocol; 6] = [
        Protocol::Tcp,
        Protocol::Udp,
        Protocol::Icmp,
        Protocol::IcmpV6,
        Protocol::Sctp,
        Protocol::UdpLite,
    ];

    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Icmp => 1,
            Protocol::IcmpV6 => 58,
            Protocol::Sctp => 132,
            Protocol::UdpLite => 136,
            Protocol::Other(number) => number,
        }
    }

    /// `None` for 0, which Calico refuses.
    pub fn from_number(number: u8) -> Option<Self> {
        let named = Protocol::NAMED.into_iter().find(|p| p.number() == number);
        named.or((number != 0).then_some(Protocol::Other(number)))
    }

    /// TCP, UDP and SCTP: the protocols whose rules may name ports.
    pub fn has_ports(self) -> bool {
        matches!(self, Protocol::Tcp | Protocol::Udp | Protocol::Sctp)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Icmp => "ICMP",
            Protocol::IcmpV6 => "ICMPv6",
            Protocol::Sctp => "SCTP",
            Protocol::UdpLite => "UDPLite",
            Protocol::Other(number) => return number.fmt(f),
        })
    }
}

impl FromStr for Protocol {
    type Err = ProtocolError;
    /// Names in Calico's exact spelling, or a number from 1 to 255.
    fn from_str(text: &str) -> Result<Self, ProtocolError> {
        let named = Protocol::NAMED.into_iter().find(|p| p.to_string() == text);
        let number = || {
            plain_number(text)
                .and_then(|n| u8::try_from(n).ok())
                .and_then(Protocol::from_number)
        };
        named.or_else(number).ok_or_else(|| ProtocolError {
            text: text.to_string(),
            suggest: Protocol::NAMED
                .into_iter()
                .find(|p| p.to_string().eq_ignore_ascii_case(text)),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolError {
    pub text: String,
    /// The protocol of that name in another case.
    pub suggest: Option<Protocol>,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a protocol: expected TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number from 1 to 255",
            self.text
        )
    }
}

impl std::error::Error for ProtocolError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_prints_as_std_would_print_it() {
        for byte in 0..=u8::MAX {
            for prefix in 0..=32 {
                let address = std::net::Ipv4Addr::new(byte, 0, 255 - byte, byte / 2);
                let cidr = Cidr(IpNet::new(address.into(), prefix).expect("at most 32"));
                assert_eq!(cidr.to_string(), format!("{address}/{prefix}"));
            }
        }
    }

    #[test]
    fn a_strict_network_says_which_rule_it_breaks() {
        let error = |text: &str| Cidr::parse(text).expect_err(text).to_string();
        assert!(error("oops").contains("is not a network"));
        assert!(error("${VM_IP}").contains("`${VM_IP}`"));
        assert!(error("10.0.0.1").contains("no prefix length"));
        assert!(error("1.2.3.4/16").contains("the network is 1.2.0.0/16"));
        assert!(error("1.2.3.4/33").contains("over 32"));
        assert!(error("1.2.3.4/99999999999").contains("over 32"));
        assert!(error("1.2.3.4/032").contains("plain number"));
        assert!(error("1.2.3.4/+8").contains("plain number"));
        assert!(error("01.2.3.4/8").contains("is not a network"));
        assert!(error("::ffff:1.2.3.4/128").contains("IPv4"));
        assert_eq!(
            Cidr::parse("1.2.3.4").unwrap_err().fix().as_deref(),
            Some("write `1.2.3.4/32`")
        );
    }

    #[test]
    fn a_network_prints_as_it_is_read() {
        for text in ["0.0.0.0/0", "10.9.0.4/32", "::/0", "fd00:9::/64", "2001:db8::1/128"] {
            assert_eq!(Cidr::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Cidr::parse("FD00:0::/64").unwrap().to_string(), "fd00::/64");
    }

    #[test]
    fn tolerated_forms_mean_what_calico_makes_of_them() {
        let lenient = |text: &str| Cidr::parse_lenient(text).map(|c| c.to_string()).ok();
        assert_eq!(lenient("10.0.0.1").as_deref(), Some("10.0.0.1/32"));
        assert_eq!(lenient("::1").as_deref(), Some("::1/128"));
        assert_eq!(lenient("1.2.3.4/016").as_deref(), Some("1.2.0.0/16"));
        assert_eq!(lenient("1.2.3.4/00").as_deref(), Some("0.0.0.0/0"));
        assert_eq!(lenient("::ffff:1.2.3.4").as_deref(), Some("1.2.3.4/32"));
        assert_eq!(lenient("::ffff:1.2.3.4/104").as_deref(), Some("1.0.0.0/8"));
        assert_eq!(lenient("::ffff:1.2.3.4/64").as_deref(), Some("::/64"));
        assert_eq!(lenient("1.2.3.4/"), None);
        assert_eq!(lenient("1.2.3.4/0x8"), None);
        assert_eq!(lenient(""), None);
        assert_eq!(lenient(" 1.2.3.4/8"), None);
    }

    #[test]
    fn protocols_are_case_sensitive_and_suggest_the_right_case() {
        assert_eq!("ICMPv6".parse(), Ok(Protocol::IcmpV6));
        assert_eq!("6".parse(), Ok(Protocol::Tcp));
        assert_eq!("47".parse(), Ok(Protocol::Other(47)));
        assert_eq!("tcp".parse::<Protocol>().unwrap_err().suggest, Some(Protocol::Tcp));
        assert!("0".parse::<Protocol>().is_err() && "256".parse::<Protocol>().is_err());
    }

    #[test]
    fn port_zero_is_no_port() {
        assert_eq!("30080".parse::<Port>().map(Port::get), Ok(30080));
        for text in ["0", "65536", "080", "", "-1", "8o"] {
            assert!(text.parse::<Port>().is_err(), "{text}");
        }
    }
}
