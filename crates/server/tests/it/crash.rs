//! The server is killed with SIGKILL while requests are in flight, and started again: what was acknowledged is there,
//! nothing is doubled, and what was under way goes on by itself. One that is asked to stop leaves nobody in doubt.

mod drain;
mod intent;
mod points;
mod random;
mod receiver;
mod world;
