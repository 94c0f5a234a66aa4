//! Types and calls generated from `wit/`. Nothing of this module leaves the crate.
//!
//! The types that all worlds share are generated once, in `shared`; each world maps its imports to them, so that one host
//! implementation serves all four.
#![allow(missing_docs, reason = "generated code")]
#![allow(clippy::all, reason = "generated code")]
#![allow(dead_code, reason = "the generated code has more than one host needs")]

pub mod shared {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package tidegate:host;
            world shared {
                import tidegate:plugin/failures@0.1.0;
                import tidegate:plugin/rows@0.1.0;
                import tidegate:plugin/log@0.1.0;
                import tidegate:plugin/clock@0.1.0;
                import tidegate:plugin/inputs@0.1.0;
                import tidegate:plugin/http@0.1.0;
                import tidegate:plugin/measurements@0.1.0;
                import tidegate:plugin/state@0.1.0;
            }
        ",
        world: "tidegate:host/shared",
        imports: { default: trappable },
        with: {
            "tidegate:plugin/rows.batch": crate::host::rows::HostBatch,
            "tidegate:plugin/rows.editor": crate::host::editor::HostEditor,
            "tidegate:plugin/rows.builder": crate::host::builder::HostBuilder,
            "tidegate:plugin/inputs.input": crate::host::inputs::HostInput,
            "tidegate:plugin/measurements.report": crate::host::report::HostReport,
        },
    });
    pub use self::tidegate::plugin::*;
}

macro_rules! world {
    ($module:ident, $world:literal, { $($interface:literal => $shared:ident),* }) => {
        pub mod $module {
            wasmtime::component::bindgen!({
                path: "../../wit",
                world: $world,
                with: { $($interface: crate::bindings::shared::$shared,)* },
            });
        }
    };
}

world!(source, "tidegate:plugin/source-plugin", {
    "tidegate:plugin/failures@0.1.0" => failures,
    "tidegate:plugin/rows@0.1.0" => rows,
    "tidegate:plugin/log@0.1.0" => log,
    "tidegate:plugin/clock@0.1.0" => clock,
    "tidegate:plugin/inputs@0.1.0" => inputs,
    "tidegate:plugin/http@0.1.0" => http
});
world!(cleaner, "tidegate:plugin/cleaner-plugin", {
    "tidegate:plugin/failures@0.1.0" => failures,
    "tidegate:plugin/rows@0.1.0" => rows,
    "tidegate:plugin/log@0.1.0" => log,
    "tidegate:plugin/state@0.1.0" => state
});
world!(evaluator, "tidegate:plugin/evaluator-plugin", {
    "tidegate:plugin/failures@0.1.0" => failures,
    "tidegate:plugin/rows@0.1.0" => rows,
    "tidegate:plugin/log@0.1.0" => log,
    "tidegate:plugin/measurements@0.1.0" => measurements
});
world!(alerter, "tidegate:plugin/alerter-plugin", {
    "tidegate:plugin/failures@0.1.0" => failures,
    "tidegate:plugin/log@0.1.0" => log,
    "tidegate:plugin/clock@0.1.0" => clock,
    "tidegate:plugin/http@0.1.0" => http
});
