-- What every answer carries, whoever made it: the browser's safety headers, and rate limits by their standard names.
-- Envoy calls them x-ratelimit-* (draft-ietf-httpapi-ratelimit-headers-03); the draft's own names have no prefix.

local PAGE = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
local NO_PAGE = "default-src 'none'; frame-ancestors 'none'"
local LIMITS = { limit = "ratelimit-limit", remaining = "ratelimit-remaining", reset = "ratelimit-reset" }

function envoy_on_response(handle)
  local headers = handle:headers()
  local kind = headers:get("content-type") or ""
  headers:replace("x-content-type-options", "nosniff")
  headers:replace("x-frame-options", "DENY")
  headers:replace("referrer-policy", "no-referrer")
  headers:replace("permissions-policy", "camera=(), geolocation=(), microphone=()")
  headers:replace("cross-origin-resource-policy", "same-site")
  headers:replace("content-security-policy", kind:find("text/html", 1, true) and PAGE or NO_PAGE)
  if not headers:get("cache-control") then
    headers:add("cache-control", "no-store")
  end
  if handle:streamInfo():downstreamSslConnection() then
    headers:replace("strict-transport-security", "max-age=31536000; includeSubDomains")
  end
  for short, name in pairs(LIMITS) do
    local value = headers:get("x-ratelimit-" .. short)
    if value then
      headers:replace(name, (value:gsub(",.*", "")))
      headers:remove("x-ratelimit-" .. short)
      if short == "reset" and headers:get(":status") == "429" then
        headers:replace("retry-after", value)
      end
    end
  end
end
