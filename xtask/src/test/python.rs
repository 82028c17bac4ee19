//! The tier with a device mapper in Python.

use std::path::{Path, PathBuf};

use super::command::works;

/// Names of the tests that need it.
pub(super) const FILTER: &str = "python::";
/// Names the interpreter to use; the tests look there, too.
pub(super) const VARIABLE: &str = "CAUSEWAY_PYTHON";
/// What to install.
pub(super) const MISSING: &str = "Python with gRPC: pip install grpcio grpcio-tools in a virtual \
     environment, and CAUSEWAY_PYTHON=its bin/python";

/// A Python that has gRPC and can compile messages.
pub(super) fn interpreter() -> Option<PathBuf> {
    let python = std::env::var_os(VARIABLE).unwrap_or_else(|| "python3".into());
    let path = Path::new(&python);
    let modules = ["-c", "import grpc, grpc_tools.protoc"];
    works(path.to_str()?, &modules).then(|| path.to_owned())
}
