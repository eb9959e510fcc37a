/** Does nothing: the baseline of memory. */
setInterval(() => {}, 1_000_000);
