package io.gatun.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.Device;
import org.junit.jupiter.api.function.Executable;

/** What calls say that are refused. */
final class Refusals {
    private Refusals() {}

    /** An argument on another device than the others. */
    static void assertElsewhere(String argument, Device given, Device allowed, Executable call) {
        assertStarts(
                IllegalArgumentException.class,
                argument + ": given memory of " + given + "; allowed: memory of " + allowed + ", as ",
                call);
    }

    /** An argument whose arena is closed. */
    static void assertClosed(String argument, Executable call) {
        assertStarts(IllegalStateException.class, argument + ": given memory of a closed arena", call);
    }

    /** An operation that the device has no kernel for. */
    static void assertNoKernel(String operation, Executable call) {
        UnsupportedOperationException refused = assertThrows(UnsupportedOperationException.class, call);
        String message = refused.getMessage();
        assertTrue(message.startsWith(operation + ": given ") && message.contains("it has no kernel for "), message);
    }

    static void assertInvalid(String message, Executable call) {
        assertEquals(message, assertThrows(IllegalArgumentException.class, call).getMessage());
    }

    static void assertStarts(Class<? extends RuntimeException> type, String start, Executable call) {
        RuntimeException refused = assertThrows(type, call);
        assertTrue(refused.getMessage().startsWith(start), refused::getMessage);
    }
}
