//! Limits of the server, and who may call it from where.

/// Limits and names of a server; [`ServeSettings::default`] is what `tidegate up` uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeSettings {
    /// Connections at once; one more is answered with 503 and closed.
    pub connections_max: usize,
    /// Wall time until the whole header of a request has come, and how long a connection may lie idle.
    pub header_ms_max: u64,
    /// Wall time until the whole body of a request has come.
    pub body_ms_max: u64,
    /// Bytes of one body.
    pub body_bytes_max: usize,
    /// Bodies above [`BODY_BYTES_LARGE`] that are held at once; one more is answered with 503.
    pub bodies_large_max: usize,
    /// Wall time of one request, its body included.
    pub request_ms_max: u64,
    /// Rows of one inference request.
    pub rows_max: usize,
    /// Labels of one request.
    pub labels_max: usize,
    /// Requests at once that wait for cleaners or predict more than a few rows; one more is answered with 503.
    pub blocking_requests_max: usize,
    /// Copies of requests at once that go to a version which is rolled out; one more is not made.
    pub mirrored_requests_max: usize,
    /// Pages that follow the state at once; one more is answered with 503.
    pub subscribers_max: usize,
    /// Shortest time between two updates of one page.
    pub update_ms_min: u64,
    /// Longest silence towards a page; then a comment is sent, so that both sides notice a dead connection.
    pub heartbeat_ms: u64,
    /// Wall time that requests in flight get when the server is told to stop.
    pub drain_ms_max: u64,
    /// Names besides the server's own that `Host` and `Origin` may have, such as that of a proxy.
    pub hosts: Vec<String>,
}

/// Bodies above this count against [`ServeSettings::bodies_large_max`].
pub const BODY_BYTES_LARGE: usize = 64 << 10;

impl Default for ServeSettings {
    fn default() -> ServeSettings {
        ServeSettings {
            connections_max: 1_024,
            header_ms_max: 30_000,
            body_ms_max: 30_000,
            body_bytes_max: 16 << 20,
            bodies_large_max: 16,
            request_ms_max: 60_000,
            rows_max: 65_536,
            labels_max: 10_000,
            blocking_requests_max: 32,
            mirrored_requests_max: 4,
            subscribers_max: 32,
            update_ms_min: 500,
            heartbeat_ms: 15_000,
            drain_ms_max: 10_000,
            hosts: Vec::new(),
        }
    }
}
