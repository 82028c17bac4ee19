//! Keys and certificates of one control plane, in one folder.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// Names by which the API server is called.
const SERVER_NAMES: [&str; 7] = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "127.0.0.1",
    "10.96.0.1",
];

/// The authority of a control plane, and where its files are.
#[derive(Debug)]
pub struct Pki {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as text.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate, PEM.
    pub certificate: String,
    /// Its private key, PKCS #8 PEM.
    pub key: String,
}

/// How long a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Longer than any test.
    Good,
    /// It ended years ago.
    Expired,
}

impl Pki {
    /// Makes or opens the authority in `dir`, with the files the control plane needs.
    ///
    /// # Errors
    /// When a file cannot be written or read.
    pub fn open(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let ca_key = dir.join("ca.key");
        if let Ok(text) = std::fs::read_to_string(&ca_key) {
            let issuer = Issuer::new(authority()?, KeyPair::from_pem(&text)?);
            return Ok(Self {
                dir: dir.to_owned(),
                issuer,
            });
        }
        let key = KeyPair::generate()?;
        let certificate = authority()?.self_signed(&key)?.pem();
        let key_text = key.serialize_pem();
        let pki = Self {
            dir: dir.to_owned(),
            issuer: Issuer::new(authority()?, key),
        };
        let server = pki.server(&SERVER_NAMES)?;
        pki.write("apiserver", &server)?;
        let to_kubelets = pki.client("kube-apiserver-kubelet-client", "system:masters")?;
        pki.write("apiserver-kubelet-client", &to_kubelets)?;
        let accounts = KeyPair::generate()?;
        secret(&dir.join("sa.key"), &accounts.serialize_pem())?;
        secret(&dir.join("sa.pub"), &accounts.public_key_pem())?;
        secret(&dir.join("ca.crt"), &certificate)?;
        // Last: its presence says that the others are there.
        secret(&ca_key, &key_text)?;
        Ok(pki)
    }

    /// A file of it: `ca.crt`, `ca.key`, `apiserver.crt`, `apiserver.key`, `sa.key`,
    /// `sa.pub`.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// The certificate of the authority, PEM.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn authority(&self) -> Result<String> {
        let path = self.dir.join("ca.crt");
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// A server certificate for these names and addresses.
    ///
    /// # Errors
    /// When a name is none.
    pub fn server(&self, names: &[&str]) -> Result<Pair> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let first = names.first().cloned().unwrap_or_default();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = named(&first, "");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// A client certificate: Kubernetes reads the user from its name, a group from its organisation.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn client(&self, user: &str, group: &str) -> Result<Pair> {
        self.client_valid(user, group, Validity::Good)
    }

    /// The same, good or expired.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn client_valid(&self, user: &str, group: &str, validity: Validity) -> Result<Pair> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = named(user, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if validity == Validity::Expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Pair> {
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// Writes a pair as `<name>.crt` and `<name>.key`.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, name: &str, pair: &Pair) -> Result<()> {
        secret(&self.dir.join(format!("{name}.crt")), &pair.certificate)?;
        secret(&self.dir.join(format!("{name}.key")), &pair.key)
    }
}

/// What the authority's own certificate says; the same at each opening.
fn authority() -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = named("causeway-testbed", "");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn named(name: &str, group: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    if !group.is_empty() {
        names.push(DnType::OrganizationName, group);
    }
    names.push(DnType::CommonName, name);
    names
}

/// Writes a file that only its owner reads.
pub(crate) fn secret(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    let open = std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path);
    open.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
