//! Any story of calls of a tiny store: it answers as a plain map that is told what was evicted, and its counts add up.
//!
//! Must not know what is right: the world that the engine's own tests use does. A story that fails is printed.
#![no_main]

use std::cell::RefCell;
use std::panic;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

#[path = "../../engine/tests/store_world/mod.rs"]
mod store_world;

use store_world::World;
use store_world::op::Story;

thread_local! {
    /// The calls so far.
    static STORY: RefCell<Story> = RefCell::default();
}

/// Prints the story before libFuzzer's own hook ends the process.
static PRINTS_STORY: LazyLock<()> = LazyLock::new(|| {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        STORY.with_borrow(|story| eprintln!("{story:?}"));
        hook(panic);
    }));
});

fuzz_target!(|bytes: &[u8]| {
    LazyLock::force(&PRINTS_STORY);
    let Story { setting, ops } = Story::decode(bytes);
    STORY.set(Story { setting, ops: Vec::new() });
    let mut world = World::new(setting);
    for op in ops {
        STORY.with_borrow_mut(|story| story.ops.push(op.clone()));
        world.step(&op);
    }
    world.check_all();
});
