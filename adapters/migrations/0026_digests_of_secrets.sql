-- The digest of a command's content covered its password or token. Whoever had this table and the key of the digests
-- could try passwords as fast as an HMAC is computed. Digests leave secrets out now; those that were stored go. The key
-- of such a request, sent again, is answered IDEMPOTENCY_KEY_MISMATCH.
UPDATE commands SET request_digest = ''
WHERE name IN ('RegisterUser', 'SignIn', 'ChangePassword', 'VerifyEmail', 'ResetPassword', 'ConfirmMfa', 'DisableMfa')
  AND request_digest <> '';
