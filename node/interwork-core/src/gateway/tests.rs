//! Conversations with a gateway shard: the peer's messages and the home's stanzas as one reads them.

mod presence;
mod texts;
mod world;
