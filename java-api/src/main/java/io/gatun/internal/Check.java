package io.gatun.internal;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * Argument checks. Every message names the argument, what was given and what is allowed; none is built before it is
 * needed, so a successful check allocates nothing.
 */
public final class Check {
    private static final int LONGEST_QUOTE = 80;
    /** The classes of this module, but for programs that happen to be in a package below. */
    private static final Pattern OWN = Pattern.compile("io\\.gatun\\.((ops|files|internal)\\.)?[^.]+");

    private static final String FOREIGN_ARENA = "another thread's confined arena";

    private Check() {}

    /** The exception for an argument that is not allowed. */
    public static IllegalArgumentException invalid(String argument, Object given, Object allowed) {
        return new IllegalArgumentException(message(argument, given, allowed));
    }

    /** The exception for an argument that no kernel takes. */
    public static UnsupportedOperationException unsupported(String argument, Object given, Object allowed) {
        return new UnsupportedOperationException(message(argument, given, allowed));
    }

    private static String message(String argument, Object given, Object allowed) {
        return argument + ": given " + given + "; allowed: " + allowed;
    }

    /** Refuses null. */
    public static void present(String argument, Object value) {
        if (value == null) {
            throw new NullPointerException(message(argument, null, "a value"));
        }
    }

    /** Refuses a number outside {@code min..max}. */
    public static void range(String argument, long value, long min, long max) {
        if (value < min || value > max) {
            throw invalid(argument, value, min + ".." + max);
        }
    }

    /** The exception for a tensor whose memory the CPU is about to use; names the operation that asked for it. */
    public static UnsupportedOperationException notOnCpu(Tensor tensor) {
        String operation = StackWalker.getInstance()
                .walk(frames -> frames.dropWhile(frame -> frame.getClassName().equals(Check.class.getName()))
                        .takeWhile(frame -> OWN.matcher(frame.getClassName()).matches())
                        .reduce((inner, outer) -> outer)
                        .map(frame -> frame.getClassName().replaceAll(".*[.$]", "") + "." + frame.getMethodName())
                        .orElse("Tensor.segment"));
        return unsupported(
                operation,
                tensor.describe() + " on " + tensor.device(),
                "tensors on cpu (see Tensor.to); it has no kernel for " + tensor.device());
    }

    /** Refuses a tensor that is not on the CPU, in an operation that has kernels for nothing else. */
    public static void onCpu(Tensor tensor) {
        if (tensor.device() != Device.CPU) {
            throw notOnCpu(tensor);
        }
    }

    /** Refuses a tensor of another device than {@code other} is on; a null tensor is on any. */
    public static void device(String argument, Tensor tensor, String other, Device device) {
        device(argument, "", tensor, other, device);
    }

    /** The same of a part of an argument: {@code out} and {@code .codes}. */
    public static void device(String argument, String part, Tensor tensor, String other, Device device) {
        if (tensor != null && tensor.device() != device) {
            throw elsewhere(argument + part, tensor.device(), other, device, "Tensor");
        }
    }

    /** The exception for what is on another device than {@code other}, of a type that has a method {@code to}. */
    public static IllegalArgumentException elsewhere(
            String argument, Device given, String other, Device device, String type) {
        return invalid(
                argument, "memory of " + given, "memory of " + device + ", as " + other + " (see " + type + ".to)");
    }

    /** Refuses a tensor whose memory is of a closed arena, or confined to another thread. */
    public static void reachable(String argument, Tensor tensor) {
        reachable(argument, "", tensor.pointer());
    }

    /** Refuses memory of a closed arena and memory that another thread confines. */
    public static void reachable(String argument, MemorySegment segment) {
        reachable(argument, "", segment);
    }

    /** The same for a part of an argument: {@code out} and {@code .codes}. */
    public static void reachable(String argument, String part, MemorySegment segment) {
        if (!segment.scope().isAlive()) {
            throw new IllegalStateException(message(
                    argument + part, "memory of a closed arena", "memory whose arena stays open during the call"));
        }
        if (!segment.isAccessibleBy(Thread.currentThread())) {
            throw foreign(argument + part, "memory of another thread's confined arena");
        }
    }

    /**
     * Memory of an arena; refuses a closed one, one that another thread confines, and more bytes than there are. The JDK's
     * own error has no message, or a negative number, near the largest sizes.
     */
    public static MemorySegment allocate(Arena arena, long bytes, long alignment) {
        open("arena", arena);
        try {
            return arena.allocate(bytes, alignment);
        } catch (WrongThreadException e) {
            throw foreign("arena", FOREIGN_ARENA);
        } catch (OutOfMemoryError e) {
            OutOfMemoryError named = new OutOfMemoryError(message(
                    "memory",
                    "a request for " + bytes + " bytes",
                    "what the system has left and, without an arena of one's own, -XX:MaxDirectMemorySize"));
            named.initCause(e);
            throw named;
        }
    }

    /** Refuses a missing and a closed arena; what allocates there refuses one that another thread confines. */
    public static void open(String argument, Arena arena) {
        present(argument, arena);
        if (!arena.scope().isAlive()) {
            throw new IllegalStateException(message(argument, "a closed arena", "an open one"));
        }
    }

    /** Refuses the same, and one that another thread confines: for what does not allocate in the arena itself. */
    public static void usable(String argument, Arena arena) {
        open(argument, arena);
        try {
            arena.allocate(0);
        } catch (WrongThreadException e) {
            throw foreign(argument, FOREIGN_ARENA);
        }
    }

    /** Refuses what its owner has closed: {@code open("k", "pool", !closed)}. */
    public static void open(String argument, String what, boolean open) {
        if (!open) {
            throw new IllegalStateException(message(argument, "a closed " + what, "an open one"));
        }
    }

    /** The exception for what another thread confines. */
    public static WrongThreadException foreign(String argument, String given) {
        return new WrongThreadException(message(
                argument,
                given + ", on thread " + Thread.currentThread().getName(),
                "this thread's, a shared, an automatic or the global arena"));
    }

    /** Refuses an output that cannot be written. */
    public static void writable(String argument, MemorySegment segment) {
        if (segment.isReadOnly()) {
            throw invalid(argument, "read-only memory", "writable memory");
        }
    }

    /** Refuses an output tensor that cannot be written. */
    public static void writable(String argument, Tensor tensor) {
        writable(argument, tensor.pointer());
    }

    /** Refuses a tensor of another type. */
    public static void dtype(String argument, Tensor tensor, Set<DType> allowed) {
        if (!allowed.contains(tensor.dtype())) {
            throw invalid(argument, "dtype " + tensor.dtype(), allowed);
        }
    }

    /** Refuses anything but a matrix of these sizes; a negative size allows any. */
    public static void matrix(String argument, Tensor tensor, long rows, long columns) {
        if (tensor.shape().rank() != 2
                || rows >= 0 && tensor.shape().size(0) != rows
                || columns >= 0 && tensor.shape().size(1) != columns) {
            throw invalid(
                    argument,
                    "shape " + tensor.shape(),
                    "a matrix [" + (rows < 0 ? "any" : rows) + ", " + (columns < 0 ? "any" : columns) + "]");
        }
    }

    /** Refuses anything but a vector of this size without gaps. */
    public static void vector(String argument, Tensor tensor, long size) {
        if (tensor.shape().rank() != 1 || tensor.shape().size(0) != size) {
            throw invalid(argument, "shape " + tensor.shape(), "a vector [" + size + "]");
        }
        contiguous(argument, tensor);
    }

    /** Refuses gaps, broadcasts and transposed views. */
    public static void contiguous(String argument, Tensor tensor) {
        if (!tensor.isContiguous()) {
            throw invalid(argument, tensor.describe(), "a contiguous tensor (see Tensor.contiguous)");
        }
    }

    /** Refuses a matrix whose columns are not adjacent or whose rows overlap. */
    public static void rowMajor(String argument, Tensor tensor) {
        long rows = tensor.shape().size(0);
        long columns = tensor.shape().size(1);
        if (columns > 1 && tensor.stride(1) != 1 || rows > 1 && tensor.stride(0) < columns) {
            throw invalid(
                    argument,
                    tensor.describe(),
                    "column stride 1 and row stride >= " + columns + " (see Tensor.contiguous)");
        }
    }

    /** Refuses an output tensor that shares memory with another argument; a null argument shares none. */
    public static void disjoint(String output, Tensor out, String input, Tensor in) {
        if (in != null) {
            disjoint(output, out.address(), out.byteSize(), input, in.address(), in.byteSize());
        }
    }

    /**
     * Refuses an output whose range of addresses shares a byte with another argument's. A view with gaps counts with its
     * gaps.
     */
    public static void disjoint(String output, MemorySegment out, String input, MemorySegment in) {
        disjoint(output, out.address(), out.byteSize(), input, in.address(), in.byteSize());
    }

    private static void disjoint(String output, long out, long outBytes, String input, long in, long inBytes) {
        if (outBytes > 0 && inBytes > 0 && out < in + inBytes && in < out + outBytes) {
            throw invalid(output, "memory that overlaps " + input, "memory of its own");
        }
    }

    /** Refuses a number of threads that the native library does not take. */
    public static void threads(int threads) {
        range("threads", threads, 0, 1024);
    }

    /** A text in quotes, safe in a message whatever it holds: control characters escaped, cut after 80 characters. */
    public static String quote(String text) {
        StringBuilder quoted = new StringBuilder("'");
        int end = Math.min(text.length(), LONGEST_QUOTE);
        for (int i = 0; i < end; i++) {
            char c = text.charAt(i);
            boolean printable = !Character.isISOControl(c) && Character.getType(c) != Character.FORMAT;
            quoted.append(printable ? String.valueOf(c) : String.format("\\u%04x", (int) c));
        }
        return quoted.append(end < text.length() ? "..." : "").append("'").toString();
    }
}
