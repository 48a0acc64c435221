//! Authorities and certificates, made on the spot.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SignatureAlgorithm, date_time_ymd,
};
use unikernel_tls::{Identity, Roots};

/// Kinds of keys that `rcgen` can make.
pub static KEYS: [(&str, &SignatureAlgorithm); 3] =
    [("P-256", &PKCS_ECDSA_P256_SHA256), ("P-384", &PKCS_ECDSA_P384_SHA384), ("Ed25519", &PKCS_ED25519)];

/// An authority that signs for the others.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, before it is an identity.
pub struct Leaf {
    pub chain: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        Authority::with_key(name, &PKCS_ECDSA_P256_SHA256)
    }

    pub fn with_key(name: &str, algorithm: &'static SignatureAlgorithm) -> Authority {
        let key = KeyPair::generate_for(algorithm).unwrap();
        Authority(CertifiedIssuer::self_signed(authority(name), key).unwrap())
    }

    /// An authority below this one.
    pub fn intermediate(&self, name: &str) -> Authority {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        Authority(CertifiedIssuer::signed_by(authority(name), key, &self.0).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn roots(&self) -> Roots {
        Roots::from_pem(self.pem().as_bytes()).unwrap()
    }

    /// For a server and a client, by these names.
    pub fn leaf(&self, names: &[&str]) -> Leaf {
        self.leaf_with(names, &PKCS_ECDSA_P256_SHA256, |_| ())
    }

    pub fn leaf_with(
        &self,
        names: &[&str],
        algorithm: &'static SignatureAlgorithm,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Leaf {
        self.leaf_for(names, KeyPair::generate_for(algorithm).unwrap(), change)
    }

    /// For a key that is there.
    pub fn leaf_for(&self, names: &[&str], key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let mut params = params(names);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Leaf { chain: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Leaf {
    /// Signed by itself.
    pub fn self_signed(names: &[&str]) -> Leaf {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = params(names).self_signed(&key).unwrap();
        Leaf { chain: certificate.pem(), key: key.serialize_pem() }
    }

    /// With a certificate between it and the root.
    pub fn with(mut self, intermediate: &Authority) -> Leaf {
        self.chain += &intermediate.pem();
        self
    }

    /// From one bundle, as operators have it.
    pub fn identity(&self) -> Identity {
        Identity::from_pem((self.chain.clone() + &self.key).as_bytes()).unwrap()
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = params(&[]);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = vec![];
    params
}

fn params(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|name| name.to_string()).collect::<Vec<_>>()).unwrap();
    // Around the clock of a hosted machine, and that of the workstation.
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}
