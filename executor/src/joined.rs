//! Waiting for what runs in a thread.

use tokio::task::JoinHandle;

/// Returns what the thread returned, or panics as it did. Never returns once the runtime shuts down: whoever waits is
/// about to be dropped with it.
pub async fn joined<T>(thread: JoinHandle<T>) -> T {
    match thread.await {
        Ok(returned) => returned,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_cancelled) => std::future::pending().await,
        },
    }
}
