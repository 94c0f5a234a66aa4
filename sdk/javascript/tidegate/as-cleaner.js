// A class as the cleaner of its component: `clean(rows, edit)`.

import { Batch } from "./batch.js";
import { Edit } from "./edit.js";
import { guarded } from "./failure.js";
import { hosted } from "./lifecycle.js";

export function exported(Plugin) {
  const { lifecycle, plugin } = hosted(Plugin);
  return { lifecycle, cleaner: { clean: guarded((rows, edit) => void plugin().clean(new Batch(rows), new Edit(edit))) } };
}
