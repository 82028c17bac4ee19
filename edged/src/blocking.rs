//! Work that waits for the disk.

/// Does it beside the tasks, which go on meanwhile. Resumes a panic of it. Dropping the future
/// abandons the wait, not the work.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going away; so will this task.
            Err(_) => std::future::pending().await,
        },
    }
}
