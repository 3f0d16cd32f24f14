package io.gatun.bench.peers;

import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The C functions of shared libraries that travel in jars on the class path. */
@SuppressWarnings("restricted")
final class NativeCode {
    private static final Linker LINKER = Linker.nativeLinker();

    /** By file name, as libraries that need the same one share it. */
    private static final Map<String, SymbolLookup> LOADED = new HashMap<>();

    private final List<SymbolLookup> libraries = new ArrayList<>();

    /**
     * Loads libraries, each after those that it needs. They are unpacked side by side and
     * unlinked as soon as they are loaded.
     *
     * @param resources names on the class path
     */
    NativeCode(String... resources) throws IOException {
        Path folder = Files.createTempDirectory("gatun-bench");
        List<Path> files = new ArrayList<>();
        try {
            for (String resource : resources) {
                String name = resource.substring(resource.lastIndexOf('/') + 1);
                if (!LOADED.containsKey(name)) {
                    Path file = folder.resolve(name);
                    files.add(file);
                    unpack(resource, file);
                    System.load(file.toString()); // a lookup alone would not tell why it can't
                    LOADED.put(name, SymbolLookup.libraryLookup(file, Arena.global()));
                }
                libraries.add(LOADED.get(name));
            }
        } finally {
            for (Path file : files) {
                Files.deleteIfExists(file);
            }
            Files.delete(folder);
        }
    }

    private static void unpack(String resource, Path file) throws IOException {
        try (InputStream stream = NativeCode.class.getResourceAsStream("/" + resource)) {
            if (stream == null) {
                throw new IOException("no " + resource + " on the class path");
            }
            Files.copy(stream, file);
        }
    }

    /** A function of one of the libraries. */
    MethodHandle function(String name, FunctionDescriptor type) {
        MemorySegment symbol = libraries.stream()
                .map(library -> library.find(name))
                .flatMap(Optional::stream)
                .findFirst()
                .orElseThrow(() -> new UnsatisfiedLinkError("no function " + name));
        return LINKER.downcallHandle(symbol, type);
    }

    /** A function that returns a status. */
    MethodHandle status(String name, MemoryLayout... arguments) {
        return function(name, FunctionDescriptor.of(ValueLayout.JAVA_INT, arguments));
    }

    /** A function that returns nothing. */
    MethodHandle procedure(String name, MemoryLayout... arguments) {
        return function(name, FunctionDescriptor.ofVoid(arguments));
    }

    /** What to throw for something that a method handle threw. */
    static RuntimeException failure(Throwable e) {
        if (e instanceof Error error) {
            throw error;
        }
        return e instanceof RuntimeException known ? known : new IllegalStateException(e);
    }

    /** Sets a variable of the C environment, which Java cannot write. */
    static void setEnvironment(String name, String value) {
        Optional<MemorySegment> setenv = LINKER.defaultLookup().find("setenv");
        if (setenv.isEmpty()) {
            return; // not a POSIX system
        }
        MethodHandle handle = LINKER.downcallHandle(
                setenv.get(),
                FunctionDescriptor.of(
                        ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.ADDRESS, ValueLayout.JAVA_INT));
        try (Arena arena = Arena.ofConfined()) {
            int status = (int) handle.invokeExact(arena.allocateFrom(name), arena.allocateFrom(value), 1);
            if (status != 0) {
                throw new IllegalStateException("setenv(" + name + ") failed");
            }
        } catch (Throwable e) {
            throw failure(e);
        }
    }
}
