/** Tensors over native memory, and the library itself: version, processor tier, threads, self-test, doctor. */
package io.gatun;
