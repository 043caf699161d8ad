//! Where the work of a stage is done, as it is named on a command line.

use std::fmt;
use std::str::FromStr;

/// What address a scheduler has.
const SCHEME: &str = "df://";
/// The name of this machine.
const HERE: &str = "here";

/// Where units of work are done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cluster {
    /// By the workers of the scheduler at this host and port.
    Scheduler(String),
    /// On this machine, one unit after the other.
    Here,
}

impl FromStr for Cluster {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == HERE {
            return Ok(Cluster::Here);
        }
        let address = text.strip_prefix(SCHEME).map(|address| address.trim_end_matches('/'));
        let is_whole = |address: &&str| {
            address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        match address.filter(is_whole) {
            Some(address) => Ok(Cluster::Scheduler(address.to_owned())),
            None => Err(format!("expected {SCHEME}HOST:PORT, or {HERE}")),
        }
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Cluster::Scheduler(address) => write!(f, "{SCHEME}{address}"),
            Cluster::Here => f.write_str(HERE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_whole() {
        assert_eq!("df://h:1".parse(), Ok(Cluster::Scheduler("h:1".into())));
        assert_eq!("df://[::1]:50050/".parse(), Ok(Cluster::Scheduler("[::1]:50050".into())));
        assert_eq!("here".parse(), Ok(Cluster::Here));
        for wrong in ["h:1", "df://h", "df://:1", "df://h:port", "http://h:1", ""] {
            assert!(wrong.parse::<Cluster>().is_err(), "{wrong}");
        }
    }
}
