/** The operations: one final class each, with static methods that check their arguments and call one C function. */
package io.gatun.ops;
