/** Checks and status handling that the public packages share; exported to Gatun's own modules alone. */
package io.gatun.internal;
