// No program.
const = 3;
