//! Ending with the process that started this one.

use std::io;
use std::os::fd::AsFd as _;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

/// Returns when the other end of standard input, a pipe, is gone: the kernel closes it when the
/// parent ends, however it ends. Unlike a parent-death signal this does not depend on which thread
/// of the parent started the child.
///
/// # Errors
/// When standard input is no pipe.
pub(crate) async fn gone() -> io::Result<()> {
    let stdin = io::stdin().as_fd().try_clone_to_owned()?;
    let mut pipe = pipe::Receiver::from_owned_fd(stdin)?;
    let mut ignored = [0; 64];
    while pipe.read(&mut ignored).await? > 0 {}
    Ok(())
}
