//! Certificates: reading, issuing (development and cluster), choosing by SNI, and the check of what
//! a peer's certificate proves.

pub(crate) mod binding;
pub(crate) mod domains;
pub(crate) mod issue;
pub(crate) mod names;
pub(crate) mod pem;
pub(crate) mod proof;
pub(crate) mod sip;
pub(crate) mod verifier;

pub(crate) use domains::DomainCertificates;
pub(crate) use names::CertificateNames;
pub(crate) use pem::TlsError;
pub(crate) use proof::PeerTrust;
pub(crate) use sip::SipCertificates;
