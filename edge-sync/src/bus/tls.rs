//! TLS to an external broker.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, pem};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::MqttConfig;

/// TLS cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("cannot read {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error("{} has no certificate", path.display())]
    Empty { path: PathBuf },
    #[error("this system has no certificates to trust; name a ca_file")]
    NoRoots,
    #[error("the certificates or the key are not usable")]
    Config(#[from] rustls::Error),
    #[error("the broker's address is no name of a host")]
    Name(#[from] InvalidDnsNameError),
    #[error("the handshake failed")]
    Handshake(#[source] std::io::Error),
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::File {
        path: path.to_owned(),
        source,
    };
    let certificates = CertificateDer::pem_file_iter(path).map_err(failed)?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(failed)?;
    if certificates.is_empty() {
        let path = path.to_owned();
        return Err(TlsError::Empty { path });
    }
    Ok(certificates)
}

fn roots(config: &MqttConfig) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let trusted = match &config.ca_file {
        Some(path) => certificates(path)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let (added, _) = roots.add_parsable_certificates(trusted);
    if added == 0 {
        return Err(TlsError::NoRoots);
    }
    Ok(roots)
}

/// Speaks TLS on a connection. The files are read each time: certificates are renewed.
pub(super) async fn connect(
    config: &MqttConfig,
    host: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(config)?);
    let client = match (&config.cert_file, &config.key_file) {
        (Some(cert), Some(key)) => {
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::File {
                path: key.clone(),
                source,
            })?;
            builder.with_client_auth_cert(certificates(cert)?, secret)?
        }
        _ => builder.with_no_client_auth(),
    };
    let name = ServerName::try_from(host.to_owned())?;
    TlsConnector::from(Arc::new(client))
        .connect(name, stream)
        .await
        .map_err(TlsError::Handshake)
}
