//! Plain TCP echo: what comes in goes out. `serve` and `upgrade` use it.

use bytes::Bytes;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Sends `first` (bytes already read) and then each byte back, until the client ends its side.
pub(super) async fn echo<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, first: Bytes) -> io::Result<()> {
    stream.write_all(&first).await?;
    stream.flush().await?;
    let mut buffer = vec![0; 8 * 1024];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return stream.shutdown().await;
        }
        stream.write_all(&buffer[..read]).await?;
        stream.flush().await?;
    }
}
