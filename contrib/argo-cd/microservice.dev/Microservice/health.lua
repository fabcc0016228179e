-- The operator keeps status.phase and status.message for people and tools alike; this only translates. Both are of the
-- generation that status.observedGeneration names, and are no news of any other.
local status = obj.status
if status == nil or status.phase == nil or status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "waiting for the operator to look at the present spec" }
end
local healthOf = {
  Healthy = "Healthy",
  Progressing = "Progressing",
  -- A person is waited for: to promote a step, to resume, or to lift a freeze.
  Paused = "Suspended",
  Degraded = "Degraded",
  -- spec.suspend is true.
  Suspended = "Suspended",
}
local health = healthOf[status.phase]
if health == nil then
  return { status = "Unknown", message = "this health check knows no phase " .. status.phase .. ": take the one of the operator's release" }
end
return { status = health, message = status.message }
