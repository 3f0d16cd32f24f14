package io.gatun.files;

import io.gatun.internal.Check;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;

/** What the readers share: whole files as read-only memory, and looking things up. */
final class Mapping {
    private Mapping() {}

    static MemorySegment open(Path file, Arena arena) throws IOException {
        Check.present("file", file);
        Check.open("arena", arena);
        if (!Files.exists(file)) {
            throw new NoSuchFileException(file.toString());
        }
        if (!Files.isRegularFile(file)) {
            throw Check.invalid("file", file + ", which is no regular file", "a regular file");
        }
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            return channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
        } catch (WrongThreadException e) {
            throw Check.foreign("arena", "another thread's confined arena");
        }
    }

    static <T> T find(Path file, String kind, String name, Map<String, T> all) {
        Check.present(kind, name);
        T found = all.get(name);
        if (found == null) {
            throw Check.invalid(kind, Text.quote(name), "one of the " + all.size() + " in " + file);
        }
        return found;
    }
}
