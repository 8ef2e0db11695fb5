//! Under which names a gate's record may know a certificate.

use kavadam_domain::CertificateName;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;

/// Its fingerprint, then the names of its subjectAltName. The subject's common name is none: nobody verifies what it means.
pub(crate) fn names_of(certificate: &CertificateDer<'_>) -> Vec<CertificateName> {
    let mut names = vec![CertificateName::Fingerprint(Sha256::digest(certificate).into())];
    let Ok((_, read)) = x509_parser::parse_x509_certificate(certificate) else {
        return names;
    };
    let Ok(Some(alternatives)) = read.subject_alternative_name() else {
        return names;
    };
    names.extend(alternatives.value.general_names.iter().filter_map(|name| match name {
        // Read as in a record, so that a wildcard is nobody's name, and a URI is not taken for a DNS name.
        GeneralName::DNSName(text) => text.parse().ok().filter(|name| matches!(name, CertificateName::Dns(_))),
        GeneralName::URI(text) => text.parse().ok().filter(|name| matches!(name, CertificateName::Uri(_))),
        _ => None,
    }));
    names
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    #[test]
    fn names_are_the_fingerprint_and_the_alternative_names_but_no_wildcard() {
        let mut params = CertificateParams::new(["Gate-7.example.org".to_owned(), "*.example.org".to_owned()]).unwrap();
        let uri = |text: &str| SanType::URI(text.try_into().unwrap());
        params
            .subject_alt_names
            .extend([uri("urn:gate:7"), uri("gate-8.example.org")]);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let names = names_of(certificate.der());
        assert!(matches!(names[0], CertificateName::Fingerprint(_)));
        let texts: Vec<String> = names[1..].iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["gate-7.example.org", "urn:gate:7"]);
    }
}
