//! QUIC transport parameters and the UDP socket.

use std::net::SocketAddr;
use std::time::Duration;

use quinn::{MtuDiscoveryConfig, TransportConfig, VarInt};

/// A connection without any packet for this long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// A connection sends at least one packet per this interval.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// The round trip time to assume before one is measured. Nodes are in one network, so it is short: QUIC sends a lost
/// first packet again after three times this value.
const INITIAL_RTT: Duration = Duration::from_millis(20);
/// The largest UDP payload to send and to accept. Networks with jumbo frames would carry 8952 bytes, but quinn hands
/// the system ten packets of a connection at once, and the system takes at most 65,507 bytes at once.
pub(crate) const MAX_PACKET_BYTES: u16 = 6550;
/// The socket buffers hold several milliseconds of traffic of a fast network.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// The parameters of every connection.
pub(crate) fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(IDLE_TIMEOUT.try_into().ok());
    transport.initial_rtt(INITIAL_RTT);
    transport.keep_alive_interval(Some(KEEP_ALIVE));
    transport.stream_receive_window(VarInt::from_u32(16 << 20));
    transport.receive_window(VarInt::from_u32(64 << 20));
    transport.send_window(64 << 20);
    transport.max_concurrent_bidi_streams(VarInt::from_u32(1024));
    // Jumbo frames and the loopback carry larger packets, which cost less per byte. MTU discovery finds out whether
    // they arrive.
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(MAX_PACKET_BYTES);
    transport.mtu_discovery_config(Some(discovery));
    transport
}

/// The UDP socket of all connections of an endpoint.
pub(crate) fn socket(listen: SocketAddr) -> std::io::Result<std::net::UdpSocket> {
    let domain = socket2::Domain::for_address(listen);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    // The system may limit the buffers (`net.core.rmem_max` and `wmem_max` on Linux). Smaller buffers work too.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.bind(&listen.into())?;
    Ok(socket.into())
}
