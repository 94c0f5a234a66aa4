//! The generated bindings: what the host offers in `host`, what a plugin exports in one module a kind. None of it is public interface.
//!
//! A plugin's world is put together from two halves, `lifecycle` and its kind, because the export macros of whole worlds would all
//! define one of the same name for `lifecycle`; the linker merges the halves.
#![allow(missing_docs, clippy::all, clippy::unwrap_used, clippy::allow_attributes_without_reason, reason = "generated code")]

/// Everything that the host offers to any kind of plugin; what a plugin does not use is not imported.
pub mod host {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package tidegate:sdk;
            world host {
                import tidegate:plugin/rows@0.1.0;
                import tidegate:plugin/measurements@0.1.0;
                import tidegate:plugin/failures@0.1.0;
                import tidegate:plugin/log@0.1.0;
                import tidegate:plugin/clock@0.1.0;
                import tidegate:plugin/inputs@0.1.0;
                import tidegate:plugin/http@0.1.0;
                import tidegate:plugin/state@0.1.0;
            }
        ",
        world: "tidegate:sdk/host",
        generate_all,
        generate_unused_types: true,
    });
    pub use tidegate::plugin::*;
}

/// The export that every kind has.
pub mod lifecycle {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package tidegate:sdk; world lifecycle { export tidegate:plugin/lifecycle@0.1.0; }",
        world: "tidegate:sdk/lifecycle",
        pub_export_macro: true,
        export_macro_name: "__export_lifecycle",
        generate_all,
        with: { "tidegate:plugin/failures@0.1.0": crate::bindings::host::failures },
    });
    pub use __export_lifecycle as export;
    pub use exports::tidegate::plugin::lifecycle::*;
}

/// The export of a source.
pub mod source {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package tidegate:sdk; world source { export tidegate:plugin/source@0.1.0; }",
        world: "tidegate:sdk/source",
        pub_export_macro: true,
        export_macro_name: "__export_source",
        generate_all,
        with: {
            "tidegate:plugin/rows@0.1.0": crate::bindings::host::rows,
            "tidegate:plugin/failures@0.1.0": crate::bindings::host::failures,
        },
    });
    pub use __export_source as export;
    pub use exports::tidegate::plugin::source::*;
}

/// The export of a cleaner.
pub mod cleaner {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package tidegate:sdk; world cleaner { export tidegate:plugin/cleaner@0.1.0; }",
        world: "tidegate:sdk/cleaner",
        pub_export_macro: true,
        export_macro_name: "__export_cleaner",
        generate_all,
        with: {
            "tidegate:plugin/rows@0.1.0": crate::bindings::host::rows,
            "tidegate:plugin/failures@0.1.0": crate::bindings::host::failures,
        },
    });
    pub use __export_cleaner as export;
    pub use exports::tidegate::plugin::cleaner::*;
}

/// The export of an evaluator.
pub mod evaluator {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package tidegate:sdk; world evaluator { export tidegate:plugin/evaluator@0.1.0; }",
        world: "tidegate:sdk/evaluator",
        pub_export_macro: true,
        export_macro_name: "__export_evaluator",
        generate_all,
        with: {
            "tidegate:plugin/rows@0.1.0": crate::bindings::host::rows,
            "tidegate:plugin/measurements@0.1.0": crate::bindings::host::measurements,
            "tidegate:plugin/failures@0.1.0": crate::bindings::host::failures,
        },
    });
    pub use __export_evaluator as export;
    pub use exports::tidegate::plugin::evaluator::*;
}

/// The export of an alerter.
pub mod alerter {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package tidegate:sdk; world alerter { export tidegate:plugin/alerter@0.1.0; }",
        world: "tidegate:sdk/alerter",
        pub_export_macro: true,
        export_macro_name: "__export_alerter",
        generate_all,
        with: { "tidegate:plugin/failures@0.1.0": crate::bindings::host::failures },
    });
    pub use __export_alerter as export;
    pub use exports::tidegate::plugin::alerter::*;
}
