//! An HTTP server that does as little as it can: `fast_server [port]`.
//!
//! It counts the ends of heads in what it reads and answers each with the same bytes, pipelined
//! ones in one write. It prints `listening PORT`.
#![expect(clippy::print_stdout, reason = "an example prints")]

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\nX-Fast: yes, it is\r\n\r\nHello, World!";
const END: &[u8; 4] = b"\r\n\r\n";

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(([127, 0, 0, 1], port.unwrap_or(0)).into())?;
        let listener: TcpListener = socket.listen(4096)?;
        println!("listening {}", listener.local_addr()?.port());
        loop {
            let (client, _) = listener.accept().await?;
            tokio::spawn(serve(client));
        }
    })
}

async fn serve(mut client: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (mut seen, mut answers) = (0, Vec::new());
    // Small, so that ten thousand clients fit.
    let mut buffer = [0; 2048];
    loop {
        let length = client.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        answers.clear();
        for byte in &buffer[..length] {
            seen = match (END[seen] == *byte, *byte) {
                (true, _) => seen + 1,
                (false, b'\r') => 1,
                (false, _) => 0,
            };
            if seen == END.len() {
                seen = 0;
                answers.extend_from_slice(ANSWER);
            }
        }
        client.write_all(&answers).await?;
    }
}
