//! A real Kubernetes control plane on this machine: etcd, kube-apiserver, kube-controller-manager
//! and kube-scheduler, with TLS, RBAC and the Node authorizer, on loopback.
//!
//! - [`binaries`]: the programs, built from Go modules at the versions of `go.mod`, kept by version.
//! - [`ControlPlane`]: starts them, waits until they serve, breaks them as a test asks, ends them.
//! - [`FaultyApi`]: a proxy before the API server that answers wrongly and late as it is told.
//! - [`pki`]: keys and certificates, made anew for each control plane.
//! - [`kubeconfig`]: ways in, as any user.
//!
//! `cargo xtask k8s` is its command line. Nothing here is fit for production: etcd does not sync its
//! disk, so that a small machine can run many of these.

pub mod binaries;
mod control_plane;
mod etcd;
mod faults;
mod http;
pub mod kubeconfig;
pub mod pki;
mod ports;
mod process;
mod wait;

pub use binaries::Binaries;
pub use control_plane::{Component, ControlPlane, Options};
pub use faults::{Faults, FaultyApi};
