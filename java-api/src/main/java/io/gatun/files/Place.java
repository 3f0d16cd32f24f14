package io.gatun.files;

import java.nio.file.Path;

/** Where a reader is, for the messages about what it finds there. */
class Place {
    private final Path file;
    private String kind = "header";
    private String name;

    /** Where the next field begins. */
    long position;

    Place(Path file) {
        this.file = file;
    }

    /** Says whose fields follow. */
    void of(String newKind) {
        of(newKind, null);
    }

    /** Says whose fields follow, by a name out of the file. */
    void of(String newKind, String newName) {
        kind = newKind;
        name = newName;
    }

    /** The exception for the field that begins at {@code at}. */
    MalformedFileException malformed(long at, String field, Object given, Object allowed) {
        String owner = name == null ? kind : kind + " " + Text.quote(name);
        return new MalformedFileException(file, owner + ", " + field + " at byte " + at, given, allowed);
    }
}
