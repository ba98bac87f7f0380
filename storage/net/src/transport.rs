//! How packets travel: how large they are, how much may be on its way, and when silence is death.

use std::net::SocketAddr;
use std::time::Duration;

use quinn::{MtuDiscoveryConfig, TransportConfig, VarInt};

/// A connection on which nothing came for this long is dead.
const IDLE: Duration = Duration::from_secs(4);
/// Something is said at least this often.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// The round trip that is assumed before one is measured, for nodes are neighbours: a first packet that is lost is sent
/// again after three of it.
const FIRST_GUESS: Duration = Duration::from_millis(20);
/// The most bytes of a packet that is tried out and taken. Networks with jumbo frames would carry 8952, but quinn gives
/// the system ten packets of a connection at a time, and the system takes 65,507 bytes at a time.
pub(crate) const LARGEST_PACKET: u16 = 6550;
/// Socket buffers: several milliseconds of a fast network.
const SOCKET_BUFFER: usize = 4 << 20;

/// What holds for every connection.
pub(crate) fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(IDLE.try_into().ok());
    transport.initial_rtt(FIRST_GUESS);
    transport.keep_alive_interval(Some(KEEP_ALIVE));
    transport.stream_receive_window(VarInt::from_u32(16 << 20));
    transport.receive_window(VarInt::from_u32(64 << 20));
    transport.send_window(64 << 20);
    transport.max_concurrent_bidi_streams(VarInt::from_u32(1024));
    // Networks with jumbo frames, and the loopback, take larger packets, of which fewer are needed; it is tried out.
    let mut packets = MtuDiscoveryConfig::default();
    packets.upper_bound(LARGEST_PACKET);
    transport.mtu_discovery_config(Some(packets));
    transport
}

/// The socket of all connections.
pub(crate) fn socket(listen: SocketAddr) -> std::io::Result<std::net::UdpSocket> {
    let domain = socket2::Domain::for_address(listen);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    // The system may give less; it then says how to allow more in its own settings.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&listen.into())?;
    Ok(socket.into())
}
