/** Checks and status handling that the public packages share; not exported. */
package io.gatun.internal;
