package io.gatun.bench;

import io.gatun.bindings.NativeLibrary;
import io.gatun.bindings.c.gatun_h;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/** The functions of libgatun_limits, see {@code native/src/limits/limits.h}. */
@SuppressWarnings("restricted")
final class LimitsLibrary {
    private static final String FILE = System.mapLibraryName("gatun_limits");
    private static final int UNSUPPORTED = gatun_h.GATUN_UNSUPPORTED();

    private final MethodHandle measure;
    private final MethodHandle update;
    private final MethodHandle lastError;

    /**
     * Loads the library from the folder of the property {@code gatun.library.path}, else from this build tree.
     *
     * @throws UnsatisfiedLinkError with the file, if it is not there or does not load
     */
    LimitsLibrary() {
        Path file = file();
        if (!Files.isRegularFile(file)) {
            throw new UnsatisfiedLinkError("no " + FILE + " at " + file + "; build it with: ./gatun bench");
        }
        SymbolLookup library = SymbolLookup.libraryLookup(file, Arena.global());
        measure = handle(
                library,
                "gatun_limits_measure",
                FunctionDescriptor.of(
                        ValueLayout.JAVA_INT,
                        ValueLayout.JAVA_INT,
                        ValueLayout.ADDRESS,
                        ValueLayout.JAVA_INT,
                        ValueLayout.JAVA_INT,
                        ValueLayout.JAVA_INT,
                        ValueLayout.JAVA_DOUBLE,
                        ValueLayout.ADDRESS,
                        ValueLayout.ADDRESS));
        update = handle(
                library,
                "gatun_limits_update",
                FunctionDescriptor.of(
                        ValueLayout.JAVA_INT,
                        ValueLayout.JAVA_INT,
                        ValueLayout.JAVA_INT,
                        ValueLayout.JAVA_INT,
                        ValueLayout.ADDRESS,
                        ValueLayout.JAVA_DOUBLE,
                        ValueLayout.ADDRESS,
                        ValueLayout.ADDRESS));
        lastError = handle(library, "gatun_limits_last_error", FunctionDescriptor.of(ValueLayout.ADDRESS));
    }

    /**
     * The best rate of about so many seconds.
     *
     * @throws UnsupportedOperationException if processor or tier has no such instruction
     */
    double best(Limits.Kind kind, String tier, int threads, double seconds) {
        return best(kind, tier, threads, new Limits.Proportion(1, 1), seconds);
    }

    /** The same; streams matter to {@link Limits.Kind#MOVE} alone. */
    double best(Limits.Kind kind, String tier, int threads, Limits.Proportion streams, double seconds) {
        return best(kind.title, (arena, best, median) -> {
            MemorySegment name = tier == null ? MemorySegment.NULL : arena.allocateFrom(tier);
            return (int) measure.invokeExact(
                    kind.ordinal(), name, threads, streams.reads(), streams.writes(), seconds, best, median);
        });
    }

    /** The best rate of a loop that changes streams in place. */
    double best(Limits.Update streams, int threads, double seconds) {
        int[] pieces = Stream.of(streams.changed(), streams.read())
                .flatMap(List::stream)
                .mapToInt(Integer::intValue)
                .toArray();
        return best(streams.toString(), (arena, best, median) -> (int) update.invokeExact(
                threads,
                pieces.length,
                streams.changed().size(),
                arena.allocateFrom(ValueLayout.JAVA_INT, pieces),
                seconds,
                best,
                median));
    }

    /** Fills both rates and returns a status. */
    private interface Measurement {
        int call(Arena arena, MemorySegment best, MemorySegment median) throws Throwable;
    }

    private double best(String title, Measurement measurement) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment best = arena.allocate(ValueLayout.JAVA_DOUBLE);
            int status = measurement.call(arena, best, arena.allocate(ValueLayout.JAVA_DOUBLE));
            if (status != 0) {
                String message = text((MemorySegment) lastError.invokeExact());
                throw status == UNSUPPORTED
                        ? new UnsupportedOperationException(message)
                        : new IllegalStateException("limit " + title + ": " + message);
            }
            return best.get(ValueLayout.JAVA_DOUBLE, 0);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    private static String text(MemorySegment pointer) {
        return pointer.reinterpret(Long.MAX_VALUE).getString(0);
    }

    private static MethodHandle handle(SymbolLookup library, String name, FunctionDescriptor type) {
        return Linker.nativeLinker().downcallHandle(library.find(name).orElseThrow(), type);
    }

    private static Path file() {
        String property = System.getProperty(NativeLibrary.PATH_PROPERTY);
        if (property != null) {
            Path path = Path.of(property);
            return (Files.isDirectory(path) ? path : path.toAbsolutePath().getParent()).resolve(FILE);
        }
        return BuildTree.root().resolve("native/target/cmake").resolve(FILE);
    }
}
