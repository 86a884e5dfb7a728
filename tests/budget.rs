//! A budget check costs nothing where there is nothing to check: it allocates not a byte.

use revenium::inside::{Budgets, Caller, Metadata, Platform, Rules, Settings, completions_url};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

/// The system's allocator, which counts for each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is the system allocator's; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn budgets(config: &str) -> Budgets {
    let settings = Arc::new(Settings::load(Some(config), &|_| None).unwrap().0);
    let (meter, _) = completions_url("http://127.0.0.1:9").unwrap();
    let platform = Arc::new(Platform::new(settings.clone(), &meter).unwrap());
    Budgets::new(settings, platform)
}

#[test]
fn without_rules_nothing_is_allocated() {
    let metadata = Metadata::from_json(r#"{"agent":"a","subscriber":{"id":"u","email":"Joe@Example.com "}}"#);
    let served: [(&str, &[u8]); 2] =
        [("none", b"[]"), ("none reached", br#"[{"ruleId":1,"name":"cap","breached":false}]"#)];
    for (name, served) in served {
        for config in [r#"{"budget_enforcement":true}"#, r#"{"budget_enforcement":true,"budget_shadow":true}"#, "{}"] {
            let budgets = budgets(config);
            budgets.install(Rules::parse(served).unwrap());
            let before = ALLOCATIONS.get();
            let told = metadata.attribution();
            assert!(budgets.admit(&Caller::new("claude-sonnet-4-5", "ANTHROPIC", &told)).is_ok());
            assert_eq!(ALLOCATIONS.get(), before, "{name} {config}");
        }
    }
}
