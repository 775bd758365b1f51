/* How the check of a token ends. */
// clang-format off
TOKEN_VERDICT(OK,            "ok")
TOKEN_VERDICT(MALFORMED,     "malformed")
TOKEN_VERDICT(UNKNOWN_SITE,  "unknown_site")
TOKEN_VERDICT(UNKNOWN_KEY,   "unknown_key")
TOKEN_VERDICT(BAD_SIGNATURE, "bad_signature")
TOKEN_VERDICT(BAD_CLAIMS,    "bad_claims")
TOKEN_VERDICT(EXPIRED,       "expired")
TOKEN_VERDICT(TOO_EARLY,     "too_early")
// clang-format on
#undef TOKEN_VERDICT
