// Not of the tutorial: gives its programs the `path` that they forgot to import, as Node's prompt does.

globalThis.path = require('path');
