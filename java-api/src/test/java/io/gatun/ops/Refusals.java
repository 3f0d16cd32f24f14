package io.gatun.ops;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.function.Executable;

/**
 * Calls that must be refused: each message names the argument, what was given and what is allowed, and no output changes.
 */
final class Refusals {
    private final BooleanSupplier outputsUnchanged;
    private final List<DynamicTest> tests = new ArrayList<>();

    Refusals(BooleanSupplier outputsUnchanged) {
        this.outputsUnchanged = outputsUnchanged;
    }

    static Tensor f32(long... shape) {
        return Tensor.allocate(DType.F32, shape);
    }

    static Tensor view(Tensor tensor, Shape shape, long... strides) {
        return Tensor.wrap(tensor.segment(), tensor.dtype(), shape, strides);
    }

    Stream<DynamicTest> tests() {
        assertFalse(tests.isEmpty());
        return tests.stream();
    }

    Refusals add(String name, String argument, String given, String allowed, Executable call) {
        return add(IllegalArgumentException.class, name, argument, given, allowed, call);
    }

    Refusals missing(String argument, Executable call) {
        return add(NullPointerException.class, argument + " is null", argument, "null", "a value", call);
    }

    /** The call with a tensor of a closed arena and with one of another thread's confined arena. */
    Refusals unreachable(String argument, DType dtype, long[] shape, Consumer<Tensor> call) {
        Tensor closed = Unreachable.closed(dtype, shape);
        Tensor foreign = Unreachable.foreign(dtype, shape);
        add(
                IllegalStateException.class,
                argument + " is closed",
                argument,
                "closed arena",
                "stays open",
                () -> call.accept(closed));
        return add(
                WrongThreadException.class,
                argument + " is foreign",
                argument,
                "another thread's",
                "this thread's",
                () -> call.accept(foreign));
    }

    Refusals add(
            Class<? extends RuntimeException> type,
            String name,
            String argument,
            String given,
            String allowed,
            Executable call) {
        tests.add(DynamicTest.dynamicTest(name, () -> {
            String message = assertThrows(type, call).getMessage();
            for (String part : List.of(argument, given, allowed)) {
                assertTrue(message.contains(part), "\"" + message + "\" does not contain \"" + part + "\"");
            }
            assertTrue(outputsUnchanged.getAsBoolean(), "an output was written");
        }));
        return this;
    }

    /** The message with which another thread is refused what the current one confines. */
    static String onAnotherThread(Executable call) throws InterruptedException {
        AtomicReference<String> message = new AtomicReference<>();
        Thread thread = new Thread(
                () -> message.set(assertThrows(WrongThreadException.class, call).getMessage()));
        thread.start();
        thread.join();
        return message.get();
    }
}
