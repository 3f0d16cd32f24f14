package io.gatun.files;

import java.io.IOException;
import java.nio.file.Path;

/** A file that breaks the rules of its format. The message names the file, the field, what it holds and what is allowed. */
public final class MalformedFileException extends IOException {
    private static final long serialVersionUID = 1L;

    MalformedFileException(Path file, String field, Object given, Object allowed) {
        super(file + ": " + field + ": given " + given + "; allowed: " + allowed);
    }
}
