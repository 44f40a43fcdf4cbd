//! The error lines, letter for letter as memcached 1.6.45 sends them.
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
    /// A flag of a meta command that does not exist.
    InvalidFlag => "CLIENT_ERROR invalid flag",
    /// A flag of a meta command that came twice.
    DuplicateFlag => "CLIENT_ERROR duplicate flag",
    /// A flag of a meta command whose number is none.
    BadToken => "CLIENT_ERROR bad token in command line format",
    /// A key that is said to be base64 and is not.
    KeyDecoding => "CLIENT_ERROR error decoding key",
    /// An opaque token of more than 32 bytes.
    OpaqueTooLong => "CLIENT_ERROR opaque token too long",
    /// A meta command of more than 20 words.
    OptionsTooLong => "CLIENT_ERROR options flags are too long",
    /// `M` of ms with a letter that is no mode.
    InvalidStoreMode => "CLIENT_ERROR invalid mode for ms M token",
    /// `M` of ma with a letter that is no mode.
    InvalidCountMode => "CLIENT_ERROR invalid mode for ma M token",
    /// What ma says of any wrong flag.
    InvalidOrDuplicateFlag => "CLIENT_ERROR invalid or duplicate flag",
    /// `J` with something that is no unsigned 64-bit decimal.
    InvalidInitial => "CLIENT_ERROR invalid numeric initial value",
    /// `D` with something that is no unsigned 64-bit decimal.
    InvalidMetaDelta => "CLIENT_ERROR invalid numeric delta value",
    /// `L` with a number above the copies there are: memring's own.
    LevelTooHigh => "CLIENT_ERROR level above the number of replicas",
    /// cache_memlimit below 8.
    MemoryLimitTooSmall => "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m",
    /// cache_memlimit above 1,000,000,000.
    MemoryLimitInBytes => "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes",
    /// cache_memlimit that cannot be done.
    MemoryLimitFailed => "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust",
    /// lru tune with shares that add up to too much.
    LruShares => "ERROR hot and warm pcts must not exceed 80",
    /// lru tune with a factor that is not above 0.
    LruFactors => "ERROR hot/warm age factors must be greater than 0",
    /// slabs reassign: there are no slab classes to move pages between.
    ReassignDisabled => "CLIENT_ERROR slab reassignment disabled",
    /// slabs automove window with a number that is none of its own.
    AutomoveWindow => "CLIENT_ERROR automove window too low or too high",
    /// lru_crawler commands after lru_crawler disable.
    CrawlerDisabled => "CLIENT_ERROR lru crawler disabled",
    /// lru_crawler enable while it runs.
    CrawlerRuns => "ERROR failed to start lru crawler thread",
    /// lru_crawler disable while it does not run.
    CrawlerStopped => "ERROR failed to stop lru crawler thread",
    /// lru_crawler sleep above a second.
    CrawlerSleep => "CLIENT_ERROR sleep must be one second or less",
    /// lru_crawler with a class that is none.
    BadClass => "BADCLASS invalid class id",
    /// lru_crawler metadump where dumps are switched off.
    MetadumpDisabled => "ERROR metadump not allowed",
    /// lru_crawler mgdump where dumps are switched off.
    MgdumpDisabled => "ERROR key dump not allowed",
    /// watch behind commands whose answers have not been sent.
    PipelinedWatch => "ERROR cannot pipeline other commands before watch",
    /// lru_crawler metadump behind commands whose answers have not been sent.
    PipelinedMetadump => "ERROR cannot pipeline other commands before metadump",
    /// lru_crawler mgdump behind commands whose answers have not been sent.
    PipelinedMgdump => "ERROR cannot pipeline other commands before mgdump",
    /// More watchers than there may be.
    TooManyWatchers => "WATCHER_TOO_MANY log watcher limit reached",
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
