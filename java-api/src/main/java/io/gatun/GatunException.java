package io.gatun;

/** A failure that is not the caller's: scratch memory or a worker thread could not be had, or Gatun is defective. */
public final class GatunException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** @param message what failed */
    public GatunException(String message) {
        super(message);
    }
}
