//! TLS of the client: every certificate is taken, as mail servers take each other's, unless it is to be verified.
//!
//! In: the server's name. Out: a connection of rustls that has not begun its handshake. Without verification it hides the session from
//! who listens, not from who answers in the server's place. The only file that chooses what TLS may be: 1.2 or 1.3, with ring.

use super::Error;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

/// A connection to `host`, a name or an address.
pub(super) fn connection(host: &str, is_verified: bool) -> Result<ClientConnection, Error> {
    let failed = |reason: String| Error::Tls { reason };
    let name = ServerName::try_from(host.to_owned()).map_err(|_| failed(format!("`{host}` is no name that a certificate can have")))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| failed(error.to_string()))?;
    let config = if is_verified {
        builder.with_root_certificates(roots()?).with_no_client_auth()
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))).with_no_client_auth()
    };
    ClientConnection::new(Arc::new(config), name).map_err(|error| failed(error.to_string()))
}

/// A connection to `host` over one that stands, by the certificates that this machine trusts.
pub(super) fn over(host: &str, tcp: TcpStream) -> Result<impl Read + Write, Error> {
    Ok(StreamOwned::new(connection(host, true)?, tcp))
}

/// What this machine trusts (`SSL_CERT_FILE`, `SSL_CERT_DIR`, else where distributions keep it).
fn roots() -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let reason = "this machine has no certificates to verify it by; install ca-certificates; a probe may leave --tls-verify out".to_owned();
        return Err(Error::Tls { reason });
    }
    Ok(roots)
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
