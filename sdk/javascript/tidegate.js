// Write Tidegate plugins in JavaScript: what a plugin of any kind imports.
//
// A plugin is a class that `plugin.js` exports as default. `tidegate plugin build` puts this module beside it and exports the class
// under the names of the interface, so that a plugin never sees generated bindings. Rows stay with the host: a `Batch` is read column
// by column into typed arrays, an `Edit` is asked for, a `Report` is told.

export { Batch, Column, Text, Values, WINDOW_ROWS } from "./tidegate/batch.js";
export { TextBuilder } from "./tidegate/text.js";
export { Failure, Issues } from "./tidegate/failure.js";
export * as log from "./tidegate/log.js";
