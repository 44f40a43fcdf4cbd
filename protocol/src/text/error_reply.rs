//! The error lines of classic commands, letter for letter as memcached 1.6.45 sends them.
//!
//! Must not know when each is due: that is the grammar's and the server's business. Clients match on these strings.

macro_rules! error_replies {
    ($($(#[$doc:meta])* $variant:ident => $line:literal,)*) => {
        /// One error line, without its CR LF.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum ErrorReply {
            $($(#[$doc])* $variant,)*
        }

        impl ErrorReply {
            /// Every error line, so that tests and documentation can walk them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The line as sent, without its CR LF.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $line,)*
                }
            }
        }
    };
}

error_replies! {
    /// The command's name is not known.
    Unknown => "ERROR",
    /// Too few arguments, a key over 250 bytes, a number that is none, a line of fewer than 4 bytes.
    BadLineFormat => "CLIENT_ERROR bad command line format",
    /// A delete with more arguments than it has; two spaces, as memcached wrote it.
    DeleteUsage => "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]",
    /// A data block that does not end in CR LF where its length says.
    BadDataChunk => "CLIENT_ERROR bad data chunk",
    /// touch, gat and flush_all with an exptime that is no number.
    InvalidExptime => "CLIENT_ERROR invalid exptime argument",
    /// incr and decr by something that is no unsigned 64-bit decimal.
    InvalidDelta => "CLIENT_ERROR invalid numeric delta argument",
    /// incr and decr of a value that is no unsigned 64-bit decimal.
    NonNumeric => "CLIENT_ERROR cannot increment or decrement non-numeric value",
    /// Key and value together are over the item limit (`-I`).
    ObjectTooLarge => "SERVER_ERROR object too large for cache",
    /// No memory for a new item, and nothing could be evicted.
    OutOfMemoryStoring => "SERVER_ERROR out of memory storing object",
    /// No memory for a number that grew.
    OutOfMemory => "SERVER_ERROR out of memory",
    /// No memory for the reply to a get.
    OutOfMemoryWriting => "SERVER_ERROR out of memory writing get response",
    /// shutdown without `-A`; the colon is memcached's.
    ShutdownDisabled => "SERVER_ERROR: shutdown not enabled",
    /// shutdown with a word other than graceful.
    InvalidShutdownMode => "CLIENT_ERROR invalid shutdown mode",
    /// flush_all where it is switched off.
    FlushDisabled => "CLIENT_ERROR flush_all not allowed",
    /// watch where it is switched off.
    WatchDisabled => "CLIENT_ERROR watch commands not allowed",
    /// stats detail where it is switched off.
    StatsDetailDisabled => "CLIENT_ERROR stats detail not allowed",
    /// stats cachedump where it is switched off.
    CachedumpDisabled => "CLIENT_ERROR stats cachedump not allowed",
    /// stats detail with a word it does not know.
    StatsDetailUsage => "CLIENT_ERROR usage: stats detail on|off|dump",
    /// stats cachedump with bad arguments.
    BadLine => "CLIENT_ERROR bad command line",
    /// stats cachedump of a class that does not exist.
    IllegalSlab => "CLIENT_ERROR Illegal slab id",
    /// The connection is above `-c`; it is closed after this line.
    TooManyConnections => "ERROR Too many open connections",
    /// With `-Y`: a command before the login.
    Unauthenticated => "CLIENT_ERROR unauthenticated",
    /// With `-Y`: wrong user or password.
    AuthenticationFailure => "CLIENT_ERROR authentication failure",
    /// With `-Y`: a login without a space between user and password.
    BadAuthToken => "CLIENT_ERROR bad authentication token format",
    /// With `-Y`: a login whose data does not end in CR LF.
    BadTermination => "CLIENT_ERROR bad command line termination",
    /// With `-Y`: a login of more than 16,384 bytes.
    AuthTokenTooLong => "CLIENT_ERROR auth token too long",
}
